-- What classic tests get by `dofile("tests/helpers.lua")`: numbers of x86-64 Linux and what goes with them.
local h = {
  SYS_write = 1, SYS_close = 3, SYS_pipe = 22, SYS_getpid = 39, SYS_socketpair = 53, SYS_fcntl = 72, SYS_writev = 20, SYS_readv = 19,
  SYS_getuid = 102, SYS_setresuid = 117, SYS_getresuid = 118, SYS_setgroups = 116, SYS_getgroups = 115, SYS_capset = 126,
  SYS_capget = 125, SYS_gettid = 186, SYS_openat = 257, SYS_keyctl = 250, SYS_read = 0, SYS_prctl = 157,
  AT_FDCWD = -100, O_RDWR = 2, O_CREAT = 64, EBADF = 9, KEYCTL_GET_KEYRING_ID = 0, KEYCTL_JOIN_SESSION_KEYRING = 1,
  KEY_SPEC_SESSION_KEYRING = -3,
}

-- The real, effective and saved user id of whoever `where` is.
function h.resuid(where)
  local zero = string.rep("\0", 4)
  local ret, real, effective, saved = where:syscall_bufs(h.SYS_getresuid, {[0] = zero, [1] = zero, [2] = zero}, 0, 0, 0)
  assert_eq(0, ret)
  return provium.unpack("u32", real), provium.unpack("u32", effective), provium.unpack("u32", saved)
end

return h
