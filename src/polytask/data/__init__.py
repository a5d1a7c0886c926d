"""From files to batches: sources, inputs, splits, the decoded cache, mixing and augmentation.

A `Source` loads a `Table`; an `Input` says how the model sees one of its columns; `prepare` decodes
once into the cache, splits, fits and encodes; a `BatchStream` mixes the sources into steps.
"""
