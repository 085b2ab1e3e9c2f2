"""Pictures that strangers upload: their files and their pixels."""
