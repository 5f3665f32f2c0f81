"""Training, export and quantisation; never imported on the robot."""
