-- A Debian guest with the programs that the pages' examples start.

local vm = provium:vm("base", "debian"):boot()
vm:write_file("/server.py", [[
import http.server, signal, sys

class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\n")

server = http.server.HTTPServer(("", 8080), Hello)
print("ready", flush=True)
server.serve_forever()
]])
return vm:snapshot()
