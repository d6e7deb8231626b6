"""farm: how a face-recognition model really behaves on the boards it will ship on."""

__version__ = "0.1.0"
