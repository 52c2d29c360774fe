-- A guest with some of the kernel's own tests in /selftests, and the script that the kernel's `make kselftest` runs them
-- with.

local vm = provium:vm("selftests", "small"):boot()
vm:push_file("../../target/guest/selftests.tar.gz", "/selftests.tar.gz")
vm:run("mkdir /selftests && tar xzf /selftests.tar.gz -C /selftests && rm /selftests.tar.gz"):assert_ok()
-- The script wants coreutils' `timeout`, and does without if there is none.
vm:unlink("/usr/bin/timeout")
return vm:snapshot()
