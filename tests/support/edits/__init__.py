"""What the tests of edits share."""
