"""Poses of the people in a video: weights, landmark network, person detector, tracking, drawing."""
