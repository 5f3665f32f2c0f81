"""The pipeline that a frame set passes through; imports neither rclpy nor torch."""
