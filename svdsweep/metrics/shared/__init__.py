"""What several families compute with: likeness of pictures, optical flow, and a clip with both worked out once."""
