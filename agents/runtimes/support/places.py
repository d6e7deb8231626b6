"""Where vendors' images put their libraries. Apart from what loads them: that needs ctypes, which
a small board's Python may lack, while what is there can be told without it."""

# Where the loader may not look but vendors' images put libraries all the same.
FOLDERS = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/*-linux-gnu*",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/opt/*/lib",
    "/oem/usr/lib",
    "/vendor/lib",
    "/vendor/lib64",
)
