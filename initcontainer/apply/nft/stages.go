package nft

import "github.com/sluicemesh/sluice/initcontainer/rule"

// stages are the rule sets to be loaded one after the other, the last of them to.
func stages(from, to map[rule.Family]rule.Sets) []map[rule.Family]rule.Sets {
	return []map[rule.Family]rule.Sets{to}
}
