"""Sans-IO RTSP, RTP and SDP: bytes in, declared events or declared errors out."""
