"""Values of calls and results: as JSON, by their annotation, exactly, without secrets."""
