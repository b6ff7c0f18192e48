package nft

func (s *statement) compat(name string, f fields) bool { return false }
