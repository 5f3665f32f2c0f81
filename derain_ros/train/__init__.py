"""Training of all networks; never imported on the robot."""
