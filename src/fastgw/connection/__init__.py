"""One websocket over picows: dialling, the open connection, the compiled listener, the gate."""
