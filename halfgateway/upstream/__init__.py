"""The RTSP client side: pulls cameras."""
