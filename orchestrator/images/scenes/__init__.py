"""Rendered scenes: faces of nobody in drawn surroundings, with exact boxes and points."""

from orchestrator.images.scenes.portraits import portrait
from orchestrator.images.scenes.scene_set import SCENES_VERSION, SceneSet

__all__ = ["SCENES_VERSION", "SceneSet", "portrait"]
