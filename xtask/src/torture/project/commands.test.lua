-- Commands of the host, which end with the run.
test("waits for a command", function(t)
  t:assert(os.execute("sleep 0.2"))
end)
