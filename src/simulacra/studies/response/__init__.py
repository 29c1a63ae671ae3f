"""Calibration of measured quantities without a prior."""
