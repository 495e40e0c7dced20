"""The studio: a corpus recorded in the browser. It knows nothing of models; `deepspeech app --studio` serves it."""
