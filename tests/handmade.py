"""What cells made by hand say of their origin."""

PROVENANCE = {
    "commit": "0123456789abcdef",
    "dirty": False,
    "device": "a cpu",
    "seconds": 1.0,
    "data": {"description": "real (hand-made)", "sha256": "0"},
    "settings": {},
}
