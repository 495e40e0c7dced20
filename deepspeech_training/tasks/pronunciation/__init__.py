"""Words to pronunciations and back: letters -> numbers -> network -> cross-entropy, or the likeliest symbols."""
