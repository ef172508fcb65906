"""What devices get: the cursor says what a device has, the download brings it to where the organization stands."""
