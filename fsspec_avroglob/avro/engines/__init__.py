"""Engines decode the blocks of a container file into Arrow record batches, from memory alone.

:func:`decoder` chooses one for a file. An engine only turns bytes into raw columns. Decompression,
schema resolution and logical types are the same code for all engines (see
:mod:`fsspec_avroglob.avro.convert`), so all engines return equal tables.
"""

from fsspec_avroglob.avro.engines.decoder import ENGINES, Decoder, decoder

__all__ = ["ENGINES", "Decoder", "decoder"]
