"""What world authors write against (``api``) and what runs it (``runner``)."""
