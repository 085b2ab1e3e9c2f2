"""Who looks at pictures: is it the concept, and is it safe?"""
