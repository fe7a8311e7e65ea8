"""The Avro format alone: container files, schemas, and blocks decoded to records or to Arrow.

Nothing here opens a file or imports another package of the library. In reading order:
``container``, ``blocks`` and ``stream`` find blocks and decompress them; ``schema``, ``resolution``
and ``unify`` compare schemas; ``decode``, ``engines`` and ``convert`` make values of blocks;
``arrow``, ``derive`` and ``encode`` relate Avro types to Arrow's.
"""
