"""Features of a corpus, made once and kept valid: what ``whisper_mel_mojo.featurize`` works with.

``inputs`` finds files, ``clips`` reads their samples, ``shards`` writes features, ``worker`` makes
one shard of them, ``manifest`` knows which shards are valid, ``engine`` has Ray make the others,
and ``run`` puts all of it together.
"""
