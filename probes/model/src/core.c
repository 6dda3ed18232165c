/* What is always compiled in: the library's account of itself. */
#include "vexmodel.h"

#ifndef VEXMODEL_COMPONENTS
#error "VEXMODEL_COMPONENTS comes from the Makefile"
#endif

const char *vexmodel_components(void)
{
	return VEXMODEL_COMPONENTS;
}

int vexmodel_abi(void)
{
	return VEXMODEL_ABI;
}
