"""What a registered version says of itself: the rows it was judged by."""
