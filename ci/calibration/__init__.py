"""The error bound's calibration: ``./dev golden calibrate``.

calibrate    worst scores over many clips, and over a search for worse ones; the record
front_ends   the front-ends that are scored
figure       the record as a picture
"""
