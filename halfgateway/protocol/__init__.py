"""Sans-IO RTSP, RTP and SDP: bytes in, declared events or declared errors out.

Nothing here knows a socket, a loop, a clock or chance: time, keys and client nonces are arguments. Any bytes
of a remote give an event or ``RemoteProtocolError``; any other exception is a bug.
"""
