package rule

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Parse reads one line "-A CHAIN ..." of a listing (iptables -S or iptables-save, either
// flavour). Conditions that this package has no Key for are kept as Other, so that no
// rule with one ever equals a planned rule. It fails on lines that are no rule.
func Parse(line string) (Rule, error) {
	words, err := split(line)
	if err != nil {
		return Rule{}, fmt.Errorf("rule %q: %w", line, err)
	}
	if len(words) < 2 || words[0] != "-A" {
		return Rule{}, fmt.Errorf("%q is not a rule", line)
	}
	text, ok := strings.CutPrefix(line, "-A "+words[1]+" ")
	if !ok || text == "" {
		return Rule{}, fmt.Errorf("rule %q: nothing after the chain", line)
	}
	r := Rule{Chain: Chain(words[1]), text: text}
	not, module := false, ""
	for words = words[2:]; len(words) > 0; {
		if words[0] == "!" {
			not, words = true, words[1:]
			continue
		}
		flag := words[0]
		n := 1
		for n < len(words) && words[n] != "!" && !strings.HasPrefix(words[n], "-") {
			n++
		}
		values := words[1:n]
		if flag == "-j" || flag == "-g" {
			r.Target = parseTarget(flag, words[1:])
			break
		}
		if flag == "-m" {
			module = strings.Join(values, " ")
		}
		r.add(option{flag, module}, strings.Join(values, " "), not)
		not, words = false, words[n:]
	}
	return r, nil
}

// option is a flag of a rule and the extension that it belongs to, "" for the flags of
// iptables itself. Extensions have flags of the same name.
type option struct{ flag, module string }

// of reports whether a listing that names the extension means this option.
func (o option) of(module string) bool {
	return o.module == "" || o.module == module || o.module == portModule && (module == "tcp" || module == "udp")
}

// implied reports whether the extension is there only for its options. Others may match
// without any, as socket does.
func implied(module string) bool {
	switch module {
	case "tcp", "udp", "owner", "comment", "mark", "connmark", "conntrack":
		return true
	}
	return false
}

// add takes one option with its value into r.
func (r *Rule) add(o option, value string, not bool) {
	if o.flag == "-m" && implied(value) {
		return
	}
	if why, ours := WhyOf(value); ours && o.flag == "--comment" && r.Why == "" {
		r.Why = why
		return
	}
	for k := Source; k < Other; k++ {
		if own := k.option(); own.flag == o.flag && own.of(o.module) {
			if value, always := canonical(k, value); !always || not {
				r.Match = append(r.Match, Match{Key: k, Not: not, Value: value})
			}
			return
		}
	}
	r.Match = append(r.Match, Match{Key: Other, Not: not, Value: strings.TrimSpace(o.flag + " " + value)})
}

// canonical writes a value as the constructors of Match do, and reports whether the
// condition always holds. Listings differ by version in how much they spell out.
func canonical(k Key, value string) (text string, always bool) {
	switch k {
	case Source, Destination:
		if a, err := netip.ParseAddr(value); err == nil {
			return netip.PrefixFrom(a, a.BitLen()).String(), false
		}
		if p, err := netip.ParsePrefix(value); err == nil {
			return p.Masked().String(), p.Bits() == 0
		}
	case Protocol:
		switch value {
		case "6":
			return "tcp", false
		case "17":
			return "udp", false
		}
	case SourcePort, DestPort, OwnerUID, OwnerGID:
		if n, err := strconv.ParseUint(value, 10, 32); err == nil {
			return strconv.FormatUint(n, 10), false
		}
	case PacketMark, ConnMark:
		if n, err := strconv.ParseUint(value, 0, 32); err == nil {
			return hex(uint32(n)), false
		}
	case InLink, OutLink, ConnState, ConnDir, Other: // written one way only
	}
	return value, false
}

// split cuts a line into words as iptables-restore does: at blanks, but not within double
// quotes, where a backslash takes the next character as it is.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	open, quoted := false, false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quoted && c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case c == '"':
			quoted, open = !quoted, true
		case !quoted && c == ' ':
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("open quotation")
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}
