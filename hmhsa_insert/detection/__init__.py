"""Detection and instance segmentation: detectors over located stages, COCO data and metric, the shapes set."""
