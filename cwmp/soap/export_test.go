package soap

// MessageCount is the number of messages that can be read and written.
func MessageCount() int { return len(codecs) + 1 } // and the fault
