"""Test signals, and what openai-whisper makes of them: the goldens of whisper-mel."""
