"""Why a row lost accuracy."""
