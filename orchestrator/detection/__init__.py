"""Face detectors' outputs into boxes, boxes into figures: numpy only, usable alone.

`decode.detect` turns the raw outputs of one image into `boxes.Detections`; `truth.TruthSet` is what
they are compared with.
"""
