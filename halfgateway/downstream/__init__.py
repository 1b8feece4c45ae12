"""The RTSP server side: serves the prefecture."""
