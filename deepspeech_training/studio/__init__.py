"""The studio: a corpus recorded in the browser, or corrected there; `deepspeech app --studio` serves it.

Only listening.py asks a model, that of the service.
"""
