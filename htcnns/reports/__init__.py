"""Values in; text, pages and pictures out. Nothing here touches the disk."""
