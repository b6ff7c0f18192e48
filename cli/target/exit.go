package target

// Exit is the error of a verb that has said all there is to say and only wants an exit code
// beside 0 and 1. The caller of the command tree prints nothing for it.
type Exit int

// Error is for callers that do not know the type.
func (e Exit) Error() string { return "not everything is as asked for, see above" }
