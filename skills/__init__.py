"""Questions to skills, answers to grades, graded answers to competence cards."""
