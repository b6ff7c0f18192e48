package template

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Error is what is wrong with a template, or with its output for one pod.
type Error struct {
	Template string
	Line     int // in the template, from 1; 0 where no line is to blame
	Message  string
}

// Error is "template NAME, line N: message".
func (e *Error) Error() string {
	where := "template " + e.Template
	if e.Line > 0 {
		where += ", line " + strconv.Itoa(e.Line)
	}
	return where + ": " + e.Message
}

// location is how text/template begins its messages: name, line and, when running, column.
var location = regexp.MustCompile(`^template: .*?:(\d+)(?::\d+)?: (.*)$`)

// located takes the line out of an error of text/template.
func located(name string, err error) *Error {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	rest, ok := strings.CutPrefix(text, "template: "+name+":")
	if !ok {
		return &Error{Template: name, Message: strings.TrimPrefix(text, "template: ")}
	}
	m := location.FindStringSubmatch("template: :" + rest)
	if m == nil {
		return &Error{Template: name, Message: rest}
	}
	line, err := strconv.Atoi(m[1])
	if err != nil {
		return &Error{Template: name, Message: rest}
	}
	return &Error{Template: name, Line: line, Message: m[2]}
}

func failure(name, format string, args ...any) *Error {
	return &Error{Template: name, Message: fmt.Sprintf(format, args...)}
}
