"""A simulated SYN: ONVIF cameras over real RTSP, for the demo, tests and integrators."""
