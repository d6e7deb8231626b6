"""Annotated photos as people have them: WIDER FACE's text files, and COCO's JSON."""

from orchestrator.images.annotated_files.coco import read_coco
from orchestrator.images.annotated_files.file_set import AnnotatedFiles
from orchestrator.images.annotated_files.widerface import read_widerface

__all__ = ["AnnotatedFiles", "read_coco", "read_widerface"]
