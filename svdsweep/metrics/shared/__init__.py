"""What several families compute with: likeness of pictures, optical flow, and a clip that computes both only once."""
