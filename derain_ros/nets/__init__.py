"""Network definitions in PyTorch; never imported on the robot."""
