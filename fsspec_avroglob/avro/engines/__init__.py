"""Engines decode the blocks of a container file into Arrow record batches, from memory alone.

:func:`decoder` chooses one for a file. An engine only turns bytes into raw columns; inflating,
schema resolution and logical types are the same code for all (see
:mod:`fsspec_avroglob.avro.convert`), which is why they return equal tables.
"""

from fsspec_avroglob.avro.engines.decoder import ENGINES, Decoder, decoder

__all__ = ["ENGINES", "Decoder", "decoder"]
