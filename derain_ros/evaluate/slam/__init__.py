"""ORB-SLAM3 as the judge: what wet lenses do to it, and what restoring does for it."""
